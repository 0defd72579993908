package com.google.mediapipe.tasks.vision.facestylizer;

import android.content.Context;
import com.google.mediapipe.framework.image.MPImage;
import com.google.mediapipe.tasks.core.BaseOptions;
import java.util.Optional;

public final class FaceStylizer implements AutoCloseable {
    private boolean closed;

    public static FaceStylizer createFromOptions(Context context, FaceStylizerOptions options) {
        return new FaceStylizer();
    }

    public FaceStylizerResult stylize(MPImage image) {
        if (closed) {
            throw new IllegalStateException("the task is closed");
        }
        return new FaceStylizerResult() {
            @Override
            public Optional<MPImage> stylizedImage() {
                return Optional.of(new MPImage());
            }
        };
    }

    @Override
    public void close() {
        closed = true;
    }

    public abstract static class FaceStylizerOptions {
        public abstract static class Builder {
            public abstract Builder setBaseOptions(BaseOptions value);

            public abstract FaceStylizerOptions build();
        }

        public static Builder builder() {
            return new Builder() {
                @Override
                public Builder setBaseOptions(BaseOptions value) {
                    return this;
                }

                @Override
                public FaceStylizerOptions build() {
                    return new FaceStylizerOptions() {};
                }
            };
        }
    }
}

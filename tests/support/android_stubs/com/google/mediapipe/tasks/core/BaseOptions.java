package com.google.mediapipe.tasks.core;

import java.nio.ByteBuffer;

public abstract class BaseOptions {
    public abstract static class Builder {
        public abstract Builder setModelAssetBuffer(ByteBuffer value);

        public abstract Builder setDelegate(Delegate value);

        public abstract BaseOptions build();
    }

    public static Builder builder() {
        return new Builder() {
            @Override
            public Builder setModelAssetBuffer(ByteBuffer value) {
                // MediaPipe refuses other buffers.
                if (!value.isDirect()) {
                    throw new IllegalArgumentException("the buffer is not direct");
                }
                return this;
            }

            @Override
            public Builder setDelegate(Delegate value) {
                return this;
            }

            @Override
            public BaseOptions build() {
                return new BaseOptions() {};
            }
        };
    }
}

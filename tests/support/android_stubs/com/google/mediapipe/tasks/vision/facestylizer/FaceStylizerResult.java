package com.google.mediapipe.tasks.vision.facestylizer;

import com.google.mediapipe.framework.image.MPImage;
import java.util.Optional;

public abstract class FaceStylizerResult {
    public abstract Optional<MPImage> stylizedImage();
}

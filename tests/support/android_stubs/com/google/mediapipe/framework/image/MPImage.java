package com.google.mediapipe.framework.image;

import java.io.Closeable;

public class MPImage implements Closeable {
    static final int SIDE = 64;

    public int getWidth() {
        return SIDE;
    }

    public int getHeight() {
        return SIDE;
    }

    @Override
    public void close() {}
}

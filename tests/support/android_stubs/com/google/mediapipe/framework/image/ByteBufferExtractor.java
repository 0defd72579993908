package com.google.mediapipe.framework.image;

import java.nio.ByteBuffer;

public class ByteBufferExtractor {
    /** Returns RGBA pixels: red is the column, green is the row, blue is 255, alpha is 0. */
    public static ByteBuffer extract(MPImage image) {
        ByteBuffer pixels = ByteBuffer.allocateDirect(4 * MPImage.SIDE * MPImage.SIDE);
        for (int row = 0; row < MPImage.SIDE; row++) {
            for (int column = 0; column < MPImage.SIDE; column++) {
                pixels.put((byte) column).put((byte) row).put((byte) 255).put((byte) 0);
            }
        }
        pixels.rewind();
        return pixels.asReadOnlyBuffer();
    }
}

package android.graphics;

import java.io.File;

public class BitmapFactory {
    public static class Options {
        public Bitmap.Config inPreferredConfig;
        public boolean inScaled;
    }

    /** Returns null for what is no picture, as Android does; here, for what does not exist. */
    public static Bitmap decodeFile(String pathName, Options options) {
        return new File(pathName).isFile() ? new Bitmap() : null;
    }
}

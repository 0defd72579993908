package android.graphics;

public final class Bitmap {
    public enum Config {
        ALPHA_8,
        RGB_565,
        ARGB_4444,
        ARGB_8888
    }
}

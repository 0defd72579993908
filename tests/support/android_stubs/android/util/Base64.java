package android.util;

public class Base64 {
    public static final int NO_WRAP = 2;

    public static String encodeToString(byte[] input, int flags) {
        if (flags != NO_WRAP) {
            throw new IllegalArgumentException("flags");
        }
        return java.util.Base64.getEncoder().encodeToString(input);
    }
}

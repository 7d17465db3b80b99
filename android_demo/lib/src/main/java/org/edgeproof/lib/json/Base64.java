package org.edgeproof.lib.json;

/** Base64 (RFC 4648, section 4): java.util.Base64 is not in Java 7, android.util's not outside Android. */
public final class Base64 {
    private static final String LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    private Base64() {}

    public static String encode(byte[] bytes) {
        StringBuilder out = new StringBuilder((bytes.length + 2) / 3 * 4);
        for (int place = 0; place < bytes.length; place += 3) {
            int left = Math.min(3, bytes.length - place);
            int group = 0;
            for (int index = 0; index < 3; index++) {
                group = group << 8 | (index < left ? bytes[place + index] & 0xff : 0);
            }
            for (int index = 0; index < 4; index++) {
                out.append(index <= left ? LETTERS.charAt(group >> (18 - 6 * index) & 63) : '=');
            }
        }
        return out.toString();
    }

    /** Returns the bytes, or null where {@code text} is no base64. */
    public static byte[] decode(String text) {
        int padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
        if (text.length() % 4 != 0) {
            return null;
        }
        byte[] bytes = new byte[text.length() / 4 * 3 - padding];
        int group = 0;
        int filled = 0;
        for (int place = 0; place < text.length(); place++) {
            int value = place < text.length() - padding ? LETTERS.indexOf(text.charAt(place)) : 0;
            if (value < 0) {
                return null;
            }
            group = group << 6 | value;
            if (place % 4 == 3) {
                for (int shift = 16; shift >= 0 && filled < bytes.length; shift -= 8) {
                    bytes[filled++] = (byte) (group >> shift);
                }
                group = 0;
            }
        }
        return bytes;
    }
}

package org.edgeproof.lib.engine;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/** SHA-256 in hexadecimal. */
public final class Digest {
    private Digest() {}

    public static String of(byte[] bytes) {
        return hexadecimal(sha256().digest(bytes));
    }

    /** Digest of a file, with a beat for each part. */
    public static String of(File file, Beat beat) throws IOException, RunException {
        MessageDigest state = sha256();
        byte[] part = new byte[1 << 20];
        try (InputStream in = new FileInputStream(file)) {
            for (int count = in.read(part); count >= 0; count = in.read(part)) {
                state.update(part, 0, count);
                beat.beat();
            }
        }
        return hexadecimal(state.digest());
    }

    public static String hexadecimal(byte[] bytes) {
        StringBuilder text = new StringBuilder(2 * bytes.length);
        for (byte one : bytes) {
            text.append(Character.forDigit(one >> 4 & 15, 16)).append(Character.forDigit(one & 15, 16));
        }
        return text.toString();
    }

    /** Returns the bytes, or null where {@code text} is not hexadecimal. */
    public static byte[] bytes(String text) {
        byte[] found = new byte[text.length() / 2];
        for (int place = 0; place < text.length(); place++) {
            int digit = Character.digit(text.charAt(place), 16);
            if (digit < 0 || text.length() % 2 != 0) {
                return null;
            }
            found[place / 2] = (byte) (found[place / 2] << 4 | digit);
        }
        return found;
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException("every Java has SHA-256", impossible);
        }
    }
}

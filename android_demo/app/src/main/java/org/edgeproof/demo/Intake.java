package org.edgeproof.demo;

import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/** Copies a file that a person chose into the app's private folder; it is there whole, or not at all. Android-free. */
final class Intake {
    private static final long SPARE = 64L << 20;
    private static final int CHUNK = 1 << 20;

    /** Hears how much is copied. */
    interface Progress {
        void copied(long bytes);
    }

    /** What was wrong with the file, in words for a person. */
    static final class Refused extends IOException {
        private static final long serialVersionUID = 1L;

        Refused(String why) {
            super(why);
        }
    }

    private Intake() {
    }

    /**
     * Copies the model and checks that it is the one that the job names.
     *
     * @param bytes the size that the job names
     * @param sha256 the digest that the job names
     */
    static void model(InputStream from, File target, long bytes, String sha256, Progress progress) throws IOException {
        File folder = Store.made(target.getParentFile());
        long free = folder.getUsableSpace();
        if (free < bytes + SPARE) {
            throw new Refused("The phone has " + megabytes(free) + " free; the model needs " + megabytes(bytes + SPARE)
                    + ". Make room and open the file again.");
        }
        File part = new File(folder, target.getName() + ".part");
        try {
            String found = copy(from, part, bytes, progress);
            if (part.length() != bytes || !found.equals(sha256)) {
                throw new Refused("This is another file than the one that the job names: it has "
                        + (part.length() == bytes ? "the same size and other content" : "another size")
                        + ". Open the very file that ships.");
            }
            if (!part.renameTo(target)) {
                throw new Refused("The model was copied and cannot be put in its place: is the storage full?");
            }
        } finally {
            part.delete();
        }
    }

    /** Reads a whole file of at most so many bytes. */
    static byte[] read(InputStream from, int most) throws IOException {
        java.io.ByteArrayOutputStream whole = new java.io.ByteArrayOutputStream();
        byte[] chunk = new byte[CHUNK];
        for (int got = from.read(chunk); got >= 0; got = from.read(chunk)) {
            whole.write(chunk, 0, got);
            if (whole.size() > most) {
                throw new Refused("This file has over " + megabytes(most) + ": it is no job.");
            }
        }
        return whole.toByteArray();
    }

    /** Writes a file so that it is whole or not there. */
    static void write(byte[] content, File target) throws IOException {
        File part = new File(Store.made(target.getParentFile()), target.getName() + ".part");
        try (FileOutputStream out = new FileOutputStream(part)) {
            out.write(content);
            out.getFD().sync();
        }
        if (!part.renameTo(target)) {
            throw new Refused("The file " + target.getName() + " cannot be put in its place: is the storage full?");
        }
    }

    private static String copy(InputStream from, File target, long most, Progress progress) throws IOException {
        MessageDigest digest;
        try {
            digest = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException error) {
            throw new IOException("this phone has no SHA-256", error);
        }
        byte[] chunk = new byte[CHUNK];
        long copied = 0;
        try (FileOutputStream out = new FileOutputStream(target)) {
            for (int got = from.read(chunk); got >= 0 && copied <= most; got = from.read(chunk)) {
                out.write(chunk, 0, got);
                digest.update(chunk, 0, got);
                copied += got;
                progress.copied(copied);
            }
            out.getFD().sync();
        }
        StringBuilder hex = new StringBuilder();
        for (byte one : digest.digest()) {
            hex.append(String.format("%02x", one));
        }
        return hex.toString();
    }

    private static String megabytes(long bytes) {
        return (bytes + 500_000) / 1_000_000 + " MB";
    }
}

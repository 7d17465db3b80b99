package org.edgeproof.lib.evidence;

import java.io.BufferedOutputStream;
import java.io.Closeable;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import org.edgeproof.lib.files.Files;

/**
 * Answers of a run that goes on, in a file of the app's private folder: a header that knows speed and memory comes before
 * them in the evidence, and a large pack's answers do not fit into an app's memory.
 */
public final class Spool implements Closeable {
    final File file;
    private final OutputStream out;
    private long lines;

    public Spool(File file) throws IOException {
        this.file = file;
        out = new BufferedOutputStream(new FileOutputStream(file));
    }

    /** Adds an answer. */
    public void add(String line) throws IOException {
        out.write((line + "\n").getBytes(StandardCharsets.US_ASCII));
        lines++;
    }

    long lines() {
        return lines;
    }

    void flush() throws IOException {
        out.flush();
    }

    /** Closes and removes the file. */
    @Override
    public void close() throws IOException {
        try {
            out.close();
        } finally {
            Files.remove(file);
        }
    }
}

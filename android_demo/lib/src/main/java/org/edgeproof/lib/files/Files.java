package org.edgeproof.lib.files;

import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.edgeproof.lib.json.JsonWriter;

/** Files that appear whole or not at all. */
public final class Files {
    private Files() {}

    /** Writes {@code value} as JSON beside {@code target}, and renames it. */
    public static void replace(File target, Map<String, Object> value) throws IOException {
        File part = new File(target.getPath() + ".part");
        try (FileOutputStream out = new FileOutputStream(part)) {
            out.write((JsonWriter.write(value) + "\n").getBytes(StandardCharsets.US_ASCII));
        }
        rename(part, target);
    }

    /** Renames a file that is whole. */
    public static void rename(File part, File target) throws IOException {
        if (!part.renameTo(target)) {
            throw new IOException("cannot rename " + part.getName() + " to " + target.getName());
        }
    }

    /** Removes a file, if it is there. */
    public static void remove(File file) throws IOException {
        if (file.exists() && !file.delete()) {
            throw new IOException("cannot remove " + file.getName());
        }
    }
}

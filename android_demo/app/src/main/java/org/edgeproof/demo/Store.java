package org.edgeproof.demo;

import java.io.File;
import java.io.IOException;
import org.edgeproof.lib.JobFiles;
import org.edgeproof.lib.job.JobReader;

/** The app's private folder, beyond the files of single jobs. Android-free. */
final class Store {
    private final File root;
    final JobFiles files;

    Store(File root) {
        this.root = root;
        this.files = new JobFiles(root);
    }

    /** The job that came last, or null. */
    String latest() {
        String found = null;
        long when = Long.MIN_VALUE;
        String[] names = new File(root, "jobs").list();
        for (String name : names == null ? new String[0] : names) {
            boolean job = JobReader.isId(name) && files.job(name).isFile();
            if (job && files.job(name).lastModified() > when) {
                found = name;
                when = files.job(name).lastModified();
            }
        }
        return found;
    }

    /** The evidence that is shared under a name, ID.jsonl; null where there is none. */
    File shared(String name) {
        String ending = ".jsonl";
        if (name == null || !name.endsWith(ending)) {
            return null;
        }
        String job = name.substring(0, name.length() - ending.length());
        return JobReader.isId(job) && files.evidence(job).isFile() ? files.evidence(job) : null;
    }

    /** Makes a folder and those above it. */
    static File made(File folder) throws IOException {
        if (!folder.isDirectory() && !folder.mkdirs() && !folder.isDirectory()) {
            throw new IOException("the folder " + folder.getName() + " cannot be made: is the storage full?");
        }
        return folder;
    }
}

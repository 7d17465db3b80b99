package org.edgeproof.lib.files;

import java.io.Closeable;
import java.io.File;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.channels.OverlappingFileLockException;
import org.edgeproof.lib.engine.RunException;
import org.edgeproof.lib.engine.RunException.Reason;

/** The right to run a job: one run at a time, in this process and among all. The system takes it back with the process. */
public final class JobLock implements Closeable {
    private final RandomAccessFile file;

    private JobLock(RandomAccessFile file) {
        this.file = file;
    }

    /** Takes it, and makes the folder if there is none. */
    public static JobLock take(File lock) throws IOException, RunException {
        File folder = lock.getParentFile();
        if (!folder.isDirectory() && !folder.mkdirs()) {
            throw new IOException("cannot make the job's folder");
        }
        RandomAccessFile file = new RandomAccessFile(lock, "rw");
        String taken = "another run of this job is under way";
        try {
            if (file.getChannel().tryLock() != null) {
                return new JobLock(file);
            }
        } catch (OverlappingFileLockException ours) {
            taken = "this app runs this job already";
        }
        file.close();
        throw new RunException(Reason.ENGINE, taken);
    }

    @Override
    public void close() throws IOException {
        file.close();
    }
}

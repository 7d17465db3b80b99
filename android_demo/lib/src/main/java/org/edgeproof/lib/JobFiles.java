package org.edgeproof.lib;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import org.edgeproof.lib.job.Job;
import org.edgeproof.lib.job.JobException;
import org.edgeproof.lib.job.JobReader;

/** The files of jobs within the app's private folder ({@code Context.getFilesDir()}). */
public final class JobFiles {
    private final File root;

    public JobFiles(File root) {
        this.root = root;
    }

    /** The folder of a job. {@code id} must be one ({@link JobReader#isId}). */
    public File folder(String id) {
        if (!JobReader.isId(id)) {
            throw new IllegalArgumentException("no job's id");
        }
        return new File(new File(root, "jobs"), id);
    }

    public File job(String id) {
        return new File(folder(id), "job.json");
    }

    public File journal(String id) {
        return new File(folder(id), "journal");
    }

    public File state(String id) {
        return new File(folder(id), "state.json");
    }

    public File evidence(String id) {
        return new File(folder(id), "evidence.jsonl");
    }

    File spool(String id) {
        return new File(folder(id), "answers.part");
    }

    File lock(String id) {
        return new File(folder(id), "lock");
    }

    /** The model of a job. */
    public File model(Job job) {
        return new File(new File(root, "models"), job.artifact.sha256 + ".gguf");
    }

    /** Reads and checks a job of this folder. */
    public Job read(String id) throws JobException {
        if (!JobReader.isId(id)) {
            throw new JobException("no job's id: it has 32 hexadecimal digits");
        }
        Job job = read(job(id));
        if (!job.id.equals(id)) {
            throw new JobException("the job in the folder " + id + " is another one, " + job.id);
        }
        return job;
    }

    /** Reads and checks a job file. */
    public static Job read(File file) throws JobException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        byte[] part = new byte[1 << 16];
        try (InputStream in = new FileInputStream(file)) {
            for (int count = in.read(part); count >= 0; count = in.read(part)) {
                bytes.write(part, 0, count);
            }
            return JobReader.read(
                    StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes.toByteArray())).toString());
        } catch (CharacterCodingException wrong) {
            throw new JobException("the job file is damaged: it is not UTF-8; make it again", wrong);
        } catch (IOException wrong) {
            throw new JobException("cannot read the job file: put it there with `export-edge phone push`", wrong);
        }
    }
}

package org.edgeproof.lib;

import java.io.File;
import java.util.Locale;
import org.edgeproof.lib.engine.RunException;
import org.edgeproof.lib.engine.RunException.Reason;
import org.edgeproof.lib.job.Job;

/** What a job needs of the phone, checked before anything starts. */
final class Requirements {
    private Requirements() {}

    /** Refuses a model that is missing or cut short, and too little memory. */
    static void check(Job job, File model, long available) throws RunException {
        if (!model.isFile()) {
            throw new RunException(
                    Reason.MODEL, "the model " + job.artifact.name + " is not here: put it there with `phone push`");
        }
        if (model.length() != job.artifact.bytes) {
            throw new RunException(
                    Reason.MODEL,
                    "the model is cut short or another one: " + model.length() + " bytes of " + job.artifact.bytes);
        }
        if (available < job.memory) {
            throw new RunException(
                    Reason.MEMORY,
                    "not enough memory: the model needs " + megabytes(job.memory) + ", " + megabytes(available)
                            + " are free. Close other apps, or take a smaller file");
        }
    }

    private static String megabytes(long bytes) {
        return String.format(Locale.ROOT, "%,d MB", bytes / 1_000_000);
    }
}

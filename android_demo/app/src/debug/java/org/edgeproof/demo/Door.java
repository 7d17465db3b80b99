package org.edgeproof.demo;

import java.io.File;
import java.util.Map;

/** What an automatic start asks for: a job that is on the phone, or a folder that holds one. Android-free. */
final class Door {
    /** The id of a job in the app's folder, or null. */
    final String job;

    /** A folder with job.json and the model under the name that the job gives it, or null. */
    final File from;

    private Door(String job, File from) {
        this.job = job;
        this.from = from;
    }

    /** Reads the extras of `am start -e NAME VALUE` or `am instrument -e NAME VALUE`. */
    static Door of(Map<String, ?> extras) throws Intake.Refused {
        String job = text(extras, "job");
        String from = text(extras, "from");
        if ((job == null) == (from == null)) {
            throw new Intake.Refused("Give one of the extras: job (a job's id) or from (a folder on the phone).");
        }
        if (job != null && !org.edgeproof.lib.job.JobReader.isId(job)) {
            throw new Intake.Refused("The extra job is no job's id: 32 digits of 0-9 and a-f.");
        }
        if (from != null && (!from.startsWith("/") || from.contains("/../") || from.endsWith("/.."))) {
            throw new Intake.Refused("The extra from is no absolute path of a folder.");
        }
        return new Door(job, from == null ? null : new File(from));
    }

    /** Reads a game loop's intent: one scenario, which is the first of these folders that the test lab filled. */
    static Door loop(Object scenario, File... folders) throws Intake.Refused {
        if (scenario != null && !Integer.valueOf(1).equals(scenario)) {
            throw new Intake.Refused("There is one scenario, 1.");
        }
        for (File folder : folders) {
            if (new File(folder, "job.json").isFile()) {
                return new Door(null, folder);
            }
        }
        throw new Intake.Refused("There is no job.json in any of the folders for a game loop.");
    }

    private static String text(Map<String, ?> extras, String name) throws Intake.Refused {
        Object value = extras.get(name);
        if (value != null && !(value instanceof String)) {
            throw new Intake.Refused("The extra " + name + " is no text.");
        }
        return (String) value;
    }
}

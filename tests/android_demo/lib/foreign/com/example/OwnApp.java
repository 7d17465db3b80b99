package com.example;

import java.io.File;
import org.edgeproof.lib.JobFiles;
import org.edgeproof.lib.JobRun;
import org.edgeproof.lib.Listener;
import org.edgeproof.lib.Outcome;
import org.edgeproof.lib.Phone;
import org.edgeproof.lib.Progress;
import org.edgeproof.lib.engine.Programs;
import org.edgeproof.lib.engine.RunException;
import org.edgeproof.lib.job.JobException;

/** What another app does with the library: docs/phone.md has these lines. */
public final class OwnApp {
    private OwnApp() {}

    public static Outcome gate(File filesDir, File nativeLibraryDir, String id, Phone phone)
            throws JobException, RunException {
        JobFiles files = new JobFiles(filesDir);
        Listener listener =
                new Listener() {
                    @Override
                    public void progress(Progress progress) {
                        System.out.println(progress.stage.word + " " + progress.done + " of " + progress.total);
                    }
                };
        JobRun run = new JobRun(files.read(id), files, phone, listener);
        run.check();
        return run.run(new OwnEngine(), Programs.in(nativeLibraryDir));
    }
}

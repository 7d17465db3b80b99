package org.edgeproof.lib.engine;

import java.io.File;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.edgeproof.lib.engine.RunException.Reason;
import org.edgeproof.lib.json.JsonException;

/** The probe programs that are at hand, and which of them suits this processor. */
public final class Programs {
    /** Builds for ARM64 processors, least first, and their names in an app. */
    private static final String[][] INSTALLED = {
        {"v8.0", "libprobe_v8_0.so"}, {"dotprod", "libprobe_dotprod.so"}, {"i8mm", "libprobe_i8mm.so"},
    };

    private static final long PATIENCE = 60_000;

    private final List<Program> programs;

    private Programs(List<Program> programs) {
        this.programs = programs;
    }

    /** The programs in an app's {@code ApplicationInfo.nativeLibraryDir}; what is missing there is left out. */
    public static Programs in(File folder) {
        List<Program> found = new ArrayList<>();
        for (String[] one : INSTALLED) {
            File file = new File(folder, one[1]);
            if (file.isFile()) {
                found.add(new Program(one[0], file, Collections.<String>emptyList()));
            }
        }
        return new Programs(found);
    }

    /** One program for each variant, least first, started by {@code command} (an emulator) in front of its path. */
    public static Programs of(List<String> variants, List<File> files, List<String> command) {
        List<Program> found = new ArrayList<>();
        for (int index = 0; index < files.size(); index++) {
            found.add(new Program(variants.get(index), files.get(index), command));
        }
        return new Programs(found);
    }

    /** Asks the least demanding program what this processor runs, and returns the most demanding of those. */
    Program best(Beat beat) throws RunException {
        if (programs.isEmpty()) {
            throw new RunException(
                    Reason.PROCESSOR, "there is no probe program for this processor: it is built for 64-bit ARM alone");
        }
        List<String> runnable;
        try (ProbeProcess least = new ProbeProcess(programs.get(0).command(), PATIENCE, beat)) {
            String said = least.ask(Collections.singletonMap("processor", true));
            runnable = ProbeProcess.parsed(said).object("processor").texts("variants");
        } catch (JsonException wrong) {
            throw new RunException(Reason.ENGINE, "the probe does not say what this processor runs", wrong);
        }
        for (int index = programs.size() - 1; index >= 0; index--) {
            if (runnable.contains(programs.get(index).variant)) {
                return programs.get(index);
            }
        }
        throw new RunException(Reason.PROCESSOR, "this processor runs none of the probe programs, only " + runnable);
    }

    /** A program. */
    static final class Program {
        final String variant;
        final File file;
        private final List<String> before;

        Program(String variant, File file, List<String> before) {
            this.variant = variant;
            this.file = file;
            this.before = before;
        }

        List<String> command() {
            List<String> words = new ArrayList<>(before);
            words.addAll(Arrays.asList(file.getPath()));
            return words;
        }
    }
}

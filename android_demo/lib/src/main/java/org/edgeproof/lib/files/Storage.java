package org.edgeproof.lib.files;

import java.io.IOException;
import org.edgeproof.lib.engine.RunException;
import org.edgeproof.lib.engine.RunException.Reason;

/** Failures to write, in words for a person. */
public final class Storage {
    private static final String[] FULL = {"No space left", "ENOSPC", "File too large", "EFBIG", "uota"};

    private Storage() {}

    /** Why a run ends that cannot write. */
    public static RunException refused(IOException wrong) {
        String said = String.valueOf(wrong.getMessage());
        for (String one : FULL) {
            if (said.contains(one)) {
                said = "the storage is full. Free some, and run again: it goes on where it stopped";
            }
        }
        return new RunException(Reason.STORAGE, "cannot write on the phone: " + said, wrong);
    }
}

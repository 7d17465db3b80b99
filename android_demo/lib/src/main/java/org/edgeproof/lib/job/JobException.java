package org.edgeproof.lib.job;

/** A job file that cannot be run, and why. The message holds no text of a probe. */
public final class JobException extends Exception {
    private static final long serialVersionUID = 1L;

    public JobException(String message) {
        super(message);
    }

    public JobException(String message, Throwable cause) {
        super(message, cause);
    }
}

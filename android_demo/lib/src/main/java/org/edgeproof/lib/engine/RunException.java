package org.edgeproof.lib.engine;

/** Why a job did not run to its end, in words for a person. The message holds no text of a probe or an answer. */
public final class RunException extends Exception {
    private static final long serialVersionUID = 1L;

    /** What a person can do about it. */
    public enum Reason {
        /** The model is missing, cut short, another one, or of an architecture that the engine does not know. */
        MODEL,
        /** There is not enough memory, or the system ended the engine for want of it. */
        MEMORY,
        /** This processor runs none of the programs. */
        PROCESSOR,
        /** No room, or no permission, to write. */
        STORAGE,
        /** The engine failed, hung, or made no sense. */
        ENGINE,
        /** A person ended it. What was computed is kept. */
        CANCELLED
    }

    private final Reason reason;

    public RunException(Reason reason, String message) {
        super(message);
        this.reason = reason;
    }

    public RunException(Reason reason, String message, Throwable cause) {
        super(message, cause);
        this.reason = reason;
    }

    public Reason reason() {
        return reason;
    }
}

package org.edgeproof.lib.engine;

/** Called at least once a second while something long goes on. */
public interface Beat {
    /**
     * @throws RunException to end it
     */
    void beat() throws RunException;
}

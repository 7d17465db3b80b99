package org.edgeproof.lib.engine;

/** What an engine says of itself. */
public final class EngineInfo {
    /** Its name: "MediaPipe", "ExecuTorch", "our app's llama.cpp". */
    public final String name;

    public final String version;

    /** What really computes: "cpu", "gpu", "npu", or "unknown" where the engine cannot tell. */
    public final String computed;

    /** How it knows, in its own words: driver, delegate, layers on the GPU. */
    public final String detail;

    /** Whether it gives log-probabilities. */
    public final boolean scores;

    public EngineInfo(String name, String version, String computed, String detail, boolean scores) {
        this.name = name;
        this.version = version;
        this.computed = computed;
        this.detail = detail;
        this.scores = scores;
    }
}

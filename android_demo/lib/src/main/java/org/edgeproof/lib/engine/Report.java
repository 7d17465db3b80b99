package org.edgeproof.lib.engine;

/** What computed, for the evidence. Unknown texts are "". */
public final class Report {
    public final EngineInfo engine;

    /** sha256 of the model, by what loaded it. */
    public final String model;

    public final String program;
    public final String variant;
    public final String features;
    public final long threads;

    /** Answers that an interrupted run had given. */
    public final long resumed;

    Report(
            EngineInfo engine,
            String model,
            String program,
            String variant,
            String features,
            long threads,
            long resumed) {
        this.engine = engine;
        this.model = model;
        this.program = program;
        this.variant = variant;
        this.features = features;
        this.threads = threads;
        this.resumed = resumed;
    }
}

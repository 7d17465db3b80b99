package org.edgeproof.lib.job;

/** Controls of the pack that the laptop has judged already. */
public final class Controls {
    public final Control positive;
    public final Control strength;

    /** Whether a pack without never-exposed probes gives no verdict. */
    public final boolean holdoutNeeded;

    /** Clusters of never-exposed probes that leak in the base. */
    public final long holdoutInFormat;

    Controls(Control positive, Control strength, boolean holdoutNeeded, long holdoutInFormat) {
        this.positive = positive;
        this.strength = strength;
        this.holdoutNeeded = holdoutNeeded;
        this.holdoutInFormat = holdoutInFormat;
    }

    /** One control: whether it holds, what was found, and how to mend it. */
    public static final class Control {
        public final boolean holds;
        public final String found;
        public final String mend;

        Control(boolean holds, String found, String mend) {
            this.holds = holds;
            this.found = found;
            this.mend = mend;
        }
    }
}

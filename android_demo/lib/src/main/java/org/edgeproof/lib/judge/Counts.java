package org.edgeproof.lib.judge;

import java.util.LinkedHashMap;
import java.util.Map;

/** Counts of a judgement, without texts: what evidence may show outside its sealed parts. */
public final class Counts {
    public final int probes;

    /** Forget clusters that leak. */
    public final int leaking;

    /** Forget clusters that the base leaks in this format. */
    public final int known;

    public final int criticalLeaking;

    /** Probes on surfaces whose replies the laptop judges, by rules that are not here. */
    public final int unjudged;

    Counts(int probes, int leaking, int known, int criticalLeaking, int unjudged) {
        this.probes = probes;
        this.leaking = leaking;
        this.known = known;
        this.criticalLeaking = criticalLeaking;
        this.unjudged = unjudged;
    }

    /** As the evidence has it. */
    public Map<String, Object> values() {
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("probes", probes);
        found.put("leaking", leaking);
        found.put("known", known);
        found.put("critical_leaking", criticalLeaking);
        found.put("unjudged", unjudged);
        return found;
    }
}

package org.edgeproof.lib;

import java.util.LinkedHashMap;
import java.util.Map;
import org.edgeproof.lib.engine.Usage;
import org.edgeproof.lib.judge.Judgement;

/** Where a run stands. Holds no text of a probe or an answer. */
public final class Progress {
    /** Where a run is. */
    public enum Stage {
        OPENING("opening"),
        RUNNING("running"),
        DONE("done"),
        FAILED("failed"),
        CANCELLED("cancelled");

        public final String word;

        Stage(String word) {
            this.word = word;
        }
    }

    public final Stage stage;

    /** Requests answered, of {@link #total}. */
    public final int done;

    public final int total;

    /** Null until the engine has computed something. */
    public final Usage usage;

    /** By the answers so far; its verdict is the phone's word only at {@link Stage#DONE}. Null while opening. */
    public final Judgement judgement;

    /** Why it failed, or "". */
    public final String error;

    Progress(Stage stage, int done, int total, Usage usage, Judgement judgement, String error) {
        this.stage = stage;
        this.done = done;
        this.total = total;
        this.usage = usage;
        this.judgement = judgement;
        this.error = error;
    }

    /** As state.json has it. */
    Map<String, Object> values(String job) {
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("edgeproof_state", 1);
        found.put("job", job);
        found.put("stage", stage.word);
        found.put("done", done);
        found.put("total", total);
        if (usage != null && usage.tokensPerSecond > 0) {
            found.put("tokens_per_second", usage.tokensPerSecond);
        }
        if (usage != null && usage.peakRss > 0) {
            found.put("peak_rss", usage.peakRss);
        }
        if (stage == Stage.DONE) {
            found.put("verdict", judgement.verdict.word);
        }
        if (!error.isEmpty()) {
            found.put("error", error);
        }
        return found;
    }
}

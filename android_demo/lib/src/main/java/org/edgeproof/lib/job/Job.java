package org.edgeproof.lib.job;

import java.util.List;
import java.util.regex.Pattern;

/** A job: what is asked of which file, by which rules. {@link JobReader} makes and checks it. */
public final class Job {
    /** 32 hexadecimal digits; a folder's name. */
    public final String id;

    /** The version of edgeproof that wrote it. */
    public final String writer;

    /** "cpu", "gpu" or "npu": what has to compute. */
    public final String compute;

    public final Artifact artifact;
    public final String packName;

    /** Bytes of memory that the probe program needs. */
    public final long memory;

    /** Tokens of the longest request. */
    public final int context;

    /** Token in front of a spliced context; -1 for none. */
    public final int bos;

    public final Rules rules;
    public final Controls controls;
    public final Forget forget;
    public final List<ProbeFacts> probes;
    public final List<Ask> asks;
    public final List<int[]> contexts;
    public final List<Splice> splices;
    public final List<Request> requests;
    public final Pattern endOfReasoning;

    /** Texts around a chat's turns; null where the model has no chat. */
    public final Chat chat;

    private final byte[] key;

    Job(Parts parts) {
        id = parts.id;
        writer = parts.writer;
        compute = parts.compute;
        artifact = parts.artifact;
        packName = parts.packName;
        memory = parts.memory;
        context = parts.context;
        bos = parts.bos;
        rules = parts.rules;
        controls = parts.controls;
        forget = parts.forget;
        probes = parts.probes;
        asks = parts.asks;
        contexts = parts.contexts;
        splices = parts.splices;
        requests = parts.requests;
        endOfReasoning = parts.endOfReasoning;
        chat = parts.chat;
        key = parts.key;
    }

    /** The key that seals the evidence. */
    public byte[] key() {
        return key.clone();
    }

    /** The file to ask. */
    public static final class Artifact {
        public final String name;
        public final String sha256;
        public final long bytes;
        public final String format;

        Artifact(String name, String sha256, long bytes, String format) {
            this.name = name;
            this.sha256 = sha256;
            this.bytes = bytes;
            this.format = format;
        }
    }

    /** Texts around the turns of a chat with the model. */
    public static final class Chat {
        public final String start;
        public final String asked;

        /** Null where the template gives no second turn. */
        public final String replied;

        Chat(String start, String asked, String replied) {
            this.start = start;
            this.asked = asked;
            this.replied = replied;
        }
    }

    /** The fields while they are read. */
    static final class Parts {
        String id;
        String writer;
        String compute;
        Artifact artifact;
        String packName;
        long memory;
        int context;
        int bos;
        Rules rules;
        Controls controls;
        Forget forget;
        List<ProbeFacts> probes;
        List<Ask> asks;
        List<int[]> contexts;
        List<Splice> splices;
        List<Request> requests;
        Pattern endOfReasoning;
        Chat chat;
        byte[] key;
    }
}

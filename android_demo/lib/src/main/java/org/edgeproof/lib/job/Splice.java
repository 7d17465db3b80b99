package org.edgeproof.lib.job;

import java.util.List;

/** A context that is made from an earlier reply: the parts with the reply between each two of them. */
public final class Splice {
    /** The id of the generation. */
    public final int reply;

    public final List<String> parts;

    /** What stands for a reply of which nothing is left. */
    public final String empty;

    Splice(int reply, List<String> parts, String empty) {
        this.reply = reply;
        this.parts = parts;
        this.empty = empty;
    }
}

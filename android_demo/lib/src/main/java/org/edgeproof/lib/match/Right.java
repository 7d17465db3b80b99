package org.edgeproof.lib.match;

/** What the phone's rules say of a reply. */
public enum Right {
    RIGHT,
    WRONG,
    /** By the rules that are here it is not right; whether it is by others, the laptop says. */
    LEFT
}

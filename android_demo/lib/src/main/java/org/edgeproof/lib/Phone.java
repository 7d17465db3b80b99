package org.edgeproof.lib;

import java.util.Map;

/** What only Android can tell of the phone; {@code org.edgeproof.lib.android.AndroidPhone} is it there. */
public interface Phone {
    /** manufacturer, model, android, api, build, soc, abi, driver: texts, "" where unknown. */
    Map<String, String> device();

    /** Bytes that can be used before the system ends programs for want of memory. */
    long availableMemory();

    /** The app's version. */
    String app();
}

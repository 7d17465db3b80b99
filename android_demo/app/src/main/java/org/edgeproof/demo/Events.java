package org.edgeproof.demo;

import android.util.Log;

/** The app's only words in the system's log: what happened, and numbers. No text of a job can get there. */
final class Events {
    /** What can happen. */
    enum Event {
        OPENED,
        STARTED,
        ENDED,
        CANCELLED,
        REFUSED,
        SHARED
    }

    private Events() {
    }

    static void log(Event event, long... numbers) {
        StringBuilder words = new StringBuilder(event.name());
        for (long number : numbers) {
            words.append(' ').append(number);
        }
        Log.i("edgeproof", words.toString());
    }
}

package org.edgeproof.demo;

import android.content.Context;
import android.os.Bundle;
import java.io.File;
import java.util.HashMap;
import java.util.Map;

/** What the doors share on Android. */
final class Doors {
    private Doors() {}

    static Map<String, Object> values(Bundle bundle) {
        Map<String, Object> found = new HashMap<>();
        if (bundle != null) {
            for (String key : bundle.keySet()) {
                found.put(key, bundle.get(key));
            }
        }
        return found;
    }

    static Bundle bundle(Map<String, Object> values) {
        Bundle made = new Bundle();
        for (Map.Entry<String, Object> entry : values.entrySet()) {
            made.putString(entry.getKey(), String.valueOf(entry.getValue()));
        }
        return made;
    }

    static Automatic automatic(Context context) {
        return new Automatic(Sessions.of(context), new File(context.getExternalFilesDir(null), "evidence"));
    }
}

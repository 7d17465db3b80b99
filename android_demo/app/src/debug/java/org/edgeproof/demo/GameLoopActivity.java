package org.edgeproof.demo;

import android.net.Uri;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.edgeproof.lib.json.JsonWriter;

/** The game loop of Firebase Test Lab: runs what lies in the app's external folder "in", writes a result, and ends. */
public final class GameLoopActivity extends JobActivity {
    @Override
    Door door() throws Intake.Refused {
        Object scenario = Doors.values(getIntent().getExtras()).get("scenario");
        return Door.loop(scenario, getExternalFilesDir(null));
    }

    @Override
    void over(Map<String, Object> result) {
        Uri target = getIntent().getData();
        try {
            if (target != null) {
                try (OutputStream out = getContentResolver().openOutputStream(target)) {
                    out.write(JsonWriter.write(result).getBytes(StandardCharsets.US_ASCII));
                }
            }
        } catch (IOException wrong) {
            Events.log(Events.Event.REFUSED);
        }
        finish();
    }
}

package org.edgeproof.demo;

import android.net.Uri;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.edgeproof.lib.json.JsonWriter;

/** The game loop of Firebase Test Lab: runs what the lab put onto the phone, writes a result, and ends. */
public final class GameLoopActivity extends JobActivity {
    @Override
    Door door() throws Intake.Refused {
        Object scenario = Doors.values(getIntent().getExtras()).get("scenario");
        return Door.loop(scenario, new File("/data/local/tmp/edgeproof"), new File(getExternalFilesDir(null), "in"));
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

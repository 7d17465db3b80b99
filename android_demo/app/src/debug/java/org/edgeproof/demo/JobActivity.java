package org.edgeproof.demo;

import android.os.Bundle;
import java.util.Collections;
import java.util.Map;

/** {@code am start -n org.edgeproof.demo/.JobActivity --es job ID}: the first screen, running at once. */
public class JobActivity extends MainActivity {
    @Override
    protected void onCreate(Bundle saved) {
        super.onCreate(saved);
        if (saved != null) {
            return; // Android makes this screen anew; its run goes on, or went on
        }
        new Thread("door") {
            @Override
            public void run() {
                Map<String, Object> result;
                try {
                    result = Doors.automatic(JobActivity.this).run(door(), new Automatic.Watcher() {
                        @Override
                        public void told(Map<String, Object> state) {}
                    });
                } catch (Intake.Refused wrong) {
                    result = Automatic.refused(wrong);
                }
                over(result);
            }
        }.start();
    }

    /** What is to be run. */
    Door door() throws Intake.Refused {
        return Door.of(getIntent() == null ? Collections.<String, Object>emptyMap() : Doors.values(getIntent().getExtras()));
    }

    /** The run is over. */
    void over(Map<String, Object> result) {
        Sessions.of(this).tell(String.valueOf(result.get("error")));
    }
}

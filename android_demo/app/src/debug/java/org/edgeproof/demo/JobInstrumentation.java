package org.edgeproof.demo;

import android.app.Activity;
import android.app.Instrumentation;
import android.os.Bundle;
import java.util.Map;

/** {@code am instrument -w -e job ID org.edgeproof.demo/.JobInstrumentation}. */
public final class JobInstrumentation extends Instrumentation {
    private static final int FAILED = 0;

    private Bundle arguments;

    @Override
    public void onCreate(Bundle given) {
        super.onCreate(given);
        arguments = given;
        start();
    }

    @Override
    public void onStart() {
        super.onStart();
        Map<String, Object> result;
        try {
            Door door = Door.of(Doors.values(arguments));
            result = Doors.automatic(getTargetContext()).run(door, new Automatic.Watcher() {
                @Override
                public void told(Map<String, Object> state) {
                    sendStatus(FAILED, Doors.bundle(state));
                }
            });
        } catch (Intake.Refused wrong) {
            result = Automatic.refused(wrong);
        }
        boolean written = !"".equals(result.get("evidence"));
        finish(written ? Activity.RESULT_OK : FAILED, Doors.bundle(result));
    }
}

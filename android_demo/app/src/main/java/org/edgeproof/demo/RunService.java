package org.edgeproof.demo;

import android.app.Notification;
import android.app.NotificationChannel;
import android.app.NotificationManager;
import android.app.PendingIntent;
import android.app.Service;
import android.content.Intent;
import android.os.IBinder;
import android.os.PowerManager;

/** Keeps a run alive while the screen turns, sleeps, or shows another app. */
public final class RunService extends Service {
    private static final String CHANNEL = "run";
    private static final int NOTICE = 1;
    private static final long LONGEST = 6L * 3600 * 1000;

    private PowerManager.WakeLock awake;

    @Override
    public int onStartCommand(Intent intent, int flags, int id) {
        startForeground(NOTICE, notice());
        if (awake == null) {
            PowerManager power = (PowerManager) getSystemService(POWER_SERVICE);
            awake = power.newWakeLock(PowerManager.PARTIAL_WAKE_LOCK, "edgeproof:run");
            awake.acquire(LONGEST);
        }
        boolean started = Sessions.of(this).start(new Runnable() {
            @Override
            public void run() {
                stopSelf();
            }
        });
        if (!started) {
            stopSelf();
        }
        return START_NOT_STICKY;
    }

    /** Android 15 ends a service of this kind after six hours a day; the run goes on where it stopped. */
    public void onTimeout(int id, int kind) {
        Sessions.of(this).cancel();
        stopSelf();
    }

    @Override
    public void onDestroy() {
        if (awake != null && awake.isHeld()) {
            awake.release();
        }
        super.onDestroy();
    }

    @Override
    public IBinder onBind(Intent intent) {
        return null;
    }

    private Notification notice() {
        NotificationManager notices = (NotificationManager) getSystemService(NOTIFICATION_SERVICE);
        notices.createNotificationChannel(
                new NotificationChannel(CHANNEL, getString(R.string.running), NotificationManager.IMPORTANCE_LOW));
        Intent back = new Intent(this, MainActivity.class).addFlags(Intent.FLAG_ACTIVITY_SINGLE_TOP);
        return new Notification.Builder(this, CHANNEL)
                .setSmallIcon(R.drawable.notice)
                .setContentTitle(getString(R.string.running))
                .setContentIntent(PendingIntent.getActivity(this, 0, back, PendingIntent.FLAG_IMMUTABLE))
                .setOngoing(true)
                .build();
    }
}

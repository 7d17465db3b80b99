package android.app;

public class NotificationManager {
    public static int IMPORTANCE_LOW;
    public native void createNotificationChannel(android.app.NotificationChannel channel);
}

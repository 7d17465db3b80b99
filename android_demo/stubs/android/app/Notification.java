package android.app;

public class Notification {
    public static class Builder {
        public Builder(android.content.Context context, String channel) { }
        public native android.app.Notification.Builder setSmallIcon(int icon);
        public native android.app.Notification.Builder setContentTitle(CharSequence title);
        public native android.app.Notification.Builder setContentIntent(android.app.PendingIntent intent);
        public native android.app.Notification.Builder setOngoing(boolean ongoing);
        public native android.app.Notification build();
    }
}

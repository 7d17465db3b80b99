package android.app;

public class PendingIntent {
    public static int FLAG_IMMUTABLE;
    public static native android.app.PendingIntent getActivity(android.content.Context context, int request, android.content.Intent intent, int flags);
}

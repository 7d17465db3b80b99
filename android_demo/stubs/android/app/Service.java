package android.app;

public abstract class Service extends android.content.ContextWrapper {
    public static int START_NOT_STICKY;
    public native void onCreate();
    public native int onStartCommand(android.content.Intent intent, int flags, int id);
    public native void onDestroy();
    public abstract android.os.IBinder onBind(android.content.Intent intent);
    public final native void startForeground(int id, android.app.Notification notification);
    public final native void stopSelf();
}

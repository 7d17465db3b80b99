package android.os;

public final class PowerManager {
    public static int PARTIAL_WAKE_LOCK;
    public native android.os.PowerManager.WakeLock newWakeLock(int level, String tag);
    public class WakeLock {
        public native void acquire(long timeout);
        public native void release();
        public native boolean isHeld();
    }
}

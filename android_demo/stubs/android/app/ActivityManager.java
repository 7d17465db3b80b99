package android.app;

public class ActivityManager {
    public native void getMemoryInfo(android.app.ActivityManager.MemoryInfo info);
    public static class MemoryInfo {
        public long availMem;
        public long totalMem;
        public long threshold;
        public boolean lowMemory;
    }
}

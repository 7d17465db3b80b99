package android.os;

public class Build {
    public static String MANUFACTURER;
    public static String MODEL;
    public static String HARDWARE;
    public static String SOC_MANUFACTURER;
    public static String SOC_MODEL;
    public static String FINGERPRINT;
    public static String[] SUPPORTED_ABIS;
    public static class VERSION {
        public static String RELEASE;
        public static int SDK_INT;
    }
}

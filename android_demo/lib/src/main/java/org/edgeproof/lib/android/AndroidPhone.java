package org.edgeproof.lib.android;

import android.app.ActivityManager;
import android.content.Context;
import android.content.pm.PackageManager;
import android.os.Build;
import java.util.LinkedHashMap;
import java.util.Map;
import org.edgeproof.lib.Phone;

/** The phone that this runs on. The only class of the library that needs Android. */
public final class AndroidPhone implements Phone {
    private static final int ANDROID_12 = 31;

    private final Context context;

    /** @param context of the app */
    public AndroidPhone(Context context) {
        this.context = context.getApplicationContext();
    }

    @Override
    public Map<String, String> device() {
        Map<String, String> found = new LinkedHashMap<>();
        found.put("manufacturer", Build.MANUFACTURER);
        found.put("model", Build.MODEL);
        found.put("android", Build.VERSION.RELEASE);
        found.put("api", String.valueOf(Build.VERSION.SDK_INT));
        found.put("build", Build.FINGERPRINT);
        boolean named = Build.VERSION.SDK_INT >= ANDROID_12;
        found.put("soc", named ? Build.SOC_MANUFACTURER + " " + Build.SOC_MODEL : Build.HARDWARE);
        found.put("abi", Build.SUPPORTED_ABIS.length == 0 ? "" : Build.SUPPORTED_ABIS[0]);
        found.put("driver", ""); // an app cannot read its graphics driver's name; nothing here computes with it
        return found;
    }

    /** What is free above the level at which Android ends programs. */
    @Override
    public long availableMemory() {
        ActivityManager.MemoryInfo memory = new ActivityManager.MemoryInfo();
        ((ActivityManager) context.getSystemService(Context.ACTIVITY_SERVICE)).getMemoryInfo(memory);
        return Math.max(0, memory.availMem - memory.threshold);
    }

    @Override
    public String app() {
        try {
            return String.valueOf(context.getPackageManager().getPackageInfo(context.getPackageName(), 0).versionName);
        } catch (PackageManager.NameNotFoundException impossible) {
            throw new IllegalStateException("Android does not know the app that runs", impossible);
        }
    }
}

package org.edgeproof.demo;

import android.app.Activity;
import android.content.ClipData;
import android.content.Intent;
import android.content.pm.PackageManager;
import android.net.Uri;
import android.os.Build;
import android.os.Bundle;
import android.webkit.WebSettings;
import android.webkit.WebView;
import android.widget.FrameLayout;

/** The only screen: a page of the app's own, in a view that reaches no file and no network. */
public class MainActivity extends Activity {
    static final int JOB = 1;
    static final int MODEL = 2;
    private static final int NOTICES = 3;
    private static final int ANDROID_13 = 33;
    private static final String NOTIFICATIONS = "android.permission.POST_NOTIFICATIONS";

    private WebView page;

    @Override
    protected void onCreate(Bundle saved) {
        super.onCreate(saved);
        page = new WebView(this);
        WebSettings settings = page.getSettings();
        settings.setJavaScriptEnabled(true);
        settings.setAllowFileAccess(false);
        settings.setAllowContentAccess(false);
        settings.setBlockNetworkLoads(true);
        page.setWebViewClient(new Assets(getAssets()));
        page.addJavascriptInterface(new Bridge(this), "phone");
        FrameLayout frame = new FrameLayout(this);
        frame.setFitsSystemWindows(true);
        frame.addView(page);
        setContentView(frame);
        page.loadUrl(Assets.START);
    }

    @Override
    protected void onDestroy() {
        page.removeJavascriptInterface("phone");
        page.destroy();
        super.onDestroy();
    }

    /** Lets a person choose a file. */
    void choose(final int what) {
        runOnUiThread(new Runnable() {
            @Override
            public void run() {
                Intent intent = new Intent(Intent.ACTION_OPEN_DOCUMENT);
                intent.addCategory(Intent.CATEGORY_OPENABLE).setType("*/*");
                startActivityForResult(intent, what);
            }
        });
    }

    @Override
    protected void onActivityResult(int request, int result, Intent data) {
        Uri chosen = data == null ? null : data.getData();
        if (result == RESULT_OK && chosen != null && (request == JOB || request == MODEL)) {
            Sessions.of(this).take(request == JOB, new Sessions.Chosen(getContentResolver(), chosen));
        }
    }

    /** Starts the run, in a service that outlives this screen. */
    void start() {
        runOnUiThread(new Runnable() {
            @Override
            public void run() {
                if (Build.VERSION.SDK_INT >= ANDROID_13
                        && checkSelfPermission(NOTIFICATIONS) != PackageManager.PERMISSION_GRANTED) {
                    requestPermissions(new String[] {NOTIFICATIONS}, NOTICES); // it runs without, too
                }
                startForegroundService(new Intent(MainActivity.this, RunService.class));
            }
        });
    }

    /** Lets a person choose where the evidence goes. */
    void share(final String job) {
        runOnUiThread(new Runnable() {
            @Override
            public void run() {
                Uri evidence = EvidenceProvider.address(job);
                Intent intent = new Intent(Intent.ACTION_SEND);
                intent.setType("application/octet-stream").putExtra(Intent.EXTRA_STREAM, evidence);
                intent.addFlags(Intent.FLAG_GRANT_READ_URI_PERMISSION);
                intent.setClipData(ClipData.newRawUri("evidence", evidence));
                Events.log(Events.Event.SHARED);
                startActivity(Intent.createChooser(intent, getString(R.string.share)));
            }
        });
    }
}

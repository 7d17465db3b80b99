package org.edgeproof.demo;

import android.content.res.AssetManager;
import android.webkit.WebResourceRequest;
import android.webkit.WebResourceResponse;
import android.webkit.WebView;
import android.webkit.WebViewClient;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;

/** Serves the page from the app's assets; whatever else it asks for does not exist. */
final class Assets extends WebViewClient {
    private static final String HOST = "app.invalid";
    static final String START = "https://" + HOST + "/page.html";

    private static final Map<String, String> TYPES = new HashMap<>();

    static {
        TYPES.put("/page.html", "text/html");
        TYPES.put("/page.css", "text/css");
        TYPES.put("/edgeproof-licences.txt", "text/plain");
        for (String script : new String[] {"drawing", "probes", "chat", "page"}) {
            TYPES.put("/" + script + ".js", "text/javascript");
        }
    }

    private final AssetManager files;

    Assets(AssetManager files) {
        this.files = files;
    }

    @Override
    public WebResourceResponse shouldInterceptRequest(WebView view, WebResourceRequest request) {
        String path = request.getUrl().getPath();
        String type = HOST.equals(request.getUrl().getHost()) ? TYPES.get(path) : null;
        if (type == null) {
            return missing();
        }
        try {
            return new WebResourceResponse(type, "utf-8", files.open(path.substring(1)));
        } catch (IOException error) {
            return missing();
        }
    }

    /** The page leads nowhere else. */
    @Override
    public boolean shouldOverrideUrlLoading(WebView view, WebResourceRequest request) {
        return true;
    }

    private static WebResourceResponse missing() {
        return new WebResourceResponse(
                "text/plain", "utf-8", 404, "Not Found", Collections.<String, String>emptyMap(),
                new ByteArrayInputStream(new byte[0]));
    }
}

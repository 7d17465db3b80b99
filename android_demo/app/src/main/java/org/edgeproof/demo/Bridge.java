package org.edgeproof.demo;

import android.webkit.JavascriptInterface;

/** What the page can ask of the app: these methods and no others. They are called on a thread of the page's. */
final class Bridge {
    private final MainActivity screen;
    private final Session session;

    Bridge(MainActivity screen) {
        this.screen = screen;
        this.session = Sessions.of(screen);
    }

    @JavascriptInterface
    public String state() {
        return session.state();
    }

    @JavascriptInterface
    public String rows(int from) {
        return session.rows(from);
    }

    @JavascriptInterface
    public void start() {
        if (session.ready()) {
            screen.start();
        }
    }

    @JavascriptInterface
    public void cancel() {
        session.cancel();
    }

    @JavascriptInterface
    public void share() {
        String job = session.finished();
        if (job != null) {
            screen.share(job);
        }
    }

    @JavascriptInterface
    public void openJob() {
        screen.choose(MainActivity.JOB);
    }

    @JavascriptInterface
    public void openModel() {
        screen.choose(MainActivity.MODEL);
    }

    @JavascriptInterface
    public void ask(String question) {
        session.ask(question);
    }

    @JavascriptInterface
    public void anew() {
        session.anew();
    }
}

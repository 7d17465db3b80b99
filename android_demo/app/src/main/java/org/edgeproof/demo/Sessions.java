package org.edgeproof.demo;

import android.content.ContentResolver;
import android.content.Context;
import android.net.Uri;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import org.edgeproof.lib.android.AndroidPhone;
import org.edgeproof.lib.engine.Programs;

/** The app's one session: it outlives screens that turn, and ends with the process. */
final class Sessions {
    private static Session session;

    private Sessions() {}

    static synchronized Session of(Context context) {
        if (session == null) {
            Context app = context.getApplicationContext();
            Programs programs = Programs.in(new File(app.getApplicationInfo().nativeLibraryDir));
            final Session made = new Session(new Store(app.getFilesDir()), programs, new AndroidPhone(app), 0);
            session = made;
            new Thread("restore") {
                @Override
                public void run() {
                    made.restore();
                }
            }.start();
        }
        return session;
    }

    /** A file that a person chose in the system's own list of files. */
    static final class Chosen implements Session.Source {
        private final ContentResolver resolver;
        private final Uri file;

        Chosen(ContentResolver resolver, Uri file) {
            this.resolver = resolver;
            this.file = file;
        }

        @Override
        public InputStream open() throws IOException {
            InputStream in = resolver.openInputStream(file);
            if (in == null) {
                throw new Intake.Refused("The file cannot be opened. Choose it again.");
            }
            return in;
        }
    }
}

package org.edgeproof.demo;

import android.content.ContentProvider;
import android.content.ContentValues;
import android.database.Cursor;
import android.database.MatrixCursor;
import android.net.Uri;
import android.os.ParcelFileDescriptor;
import android.provider.OpenableColumns;

import java.io.File;
import java.io.FileNotFoundException;

/** Lets the app that a person chose read one job's evidence, and nothing else. */
public final class EvidenceProvider extends ContentProvider {
    private static final String ADDRESS = "content://org.edgeproof.demo.evidence/";

    static Uri address(String job) {
        return Uri.parse(ADDRESS + job + ".jsonl");
    }

    @Override
    public boolean onCreate() {
        return true;
    }

    @Override
    public ParcelFileDescriptor openFile(Uri uri, String mode) throws FileNotFoundException {
        if (!"r".equals(mode)) {
            throw new FileNotFoundException("evidence is read only");
        }
        return ParcelFileDescriptor.open(file(uri), ParcelFileDescriptor.MODE_READ_ONLY);
    }

    @Override
    public Cursor query(Uri uri, String[] columns, String selection, String[] values, String order) {
        String[] wanted = columns == null ? new String[] {OpenableColumns.DISPLAY_NAME, OpenableColumns.SIZE} : columns;
        MatrixCursor rows = new MatrixCursor(wanted);
        Object[] row = new Object[wanted.length];
        try {
            File evidence = file(uri);
            for (int at = 0; at < wanted.length; at++) {
                if (OpenableColumns.DISPLAY_NAME.equals(wanted[at])) {
                    row[at] = "evidence-" + uri.getLastPathSegment();
                } else if (OpenableColumns.SIZE.equals(wanted[at])) {
                    row[at] = evidence.length();
                }
            }
            rows.addRow(row);
        } catch (FileNotFoundException error) {
            return rows;
        }
        return rows;
    }

    @Override
    public String getType(Uri uri) {
        return "application/octet-stream";
    }

    @Override
    public Uri insert(Uri uri, ContentValues values) {
        throw new UnsupportedOperationException("evidence is read only");
    }

    @Override
    public int delete(Uri uri, String selection, String[] values) {
        throw new UnsupportedOperationException("evidence is read only");
    }

    @Override
    public int update(Uri uri, ContentValues values, String selection, String[] arguments) {
        throw new UnsupportedOperationException("evidence is read only");
    }

    private File file(Uri uri) throws FileNotFoundException {
        File evidence = new Store(getContext().getFilesDir()).shared(uri.getLastPathSegment());
        if (evidence == null) {
            throw new FileNotFoundException("no evidence of this name");
        }
        return evidence;
    }
}

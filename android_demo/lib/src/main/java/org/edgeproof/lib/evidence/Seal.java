package org.edgeproof.lib.evidence;

import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.SecureRandom;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/** AES-256-GCM with a fresh random nonce for each part; a part cannot be moved to another place, job or header. */
final class Seal {
    private static final int NONCE_BYTES = 12;
    private static final int TAG_BITS = 128;

    private final SecretKeySpec key;
    private final String job;
    private final String header;
    private final SecureRandom random = new SecureRandom();

    /**
     * @param key 32 bytes
     * @param header sha256 of the evidence's first line
     */
    Seal(byte[] key, String job, String header) {
        this.key = new SecretKeySpec(key, "AES");
        this.job = job;
        this.header = header;
    }

    /** Returns nonce, ciphertext and tag. */
    byte[] seal(int part, byte[] plain) {
        byte[] nonce = new byte[NONCE_BYTES];
        random.nextBytes(nonce);
        try {
            Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
            cipher.init(Cipher.ENCRYPT_MODE, key, new GCMParameterSpec(TAG_BITS, nonce));
            String about = "edgeproof evidence 1\n" + job + "\n" + part + "\n" + header;
            cipher.updateAAD(about.getBytes(StandardCharsets.UTF_8));
            byte[] sealed = cipher.doFinal(plain);
            byte[] found = new byte[NONCE_BYTES + sealed.length];
            System.arraycopy(nonce, 0, found, 0, NONCE_BYTES);
            System.arraycopy(sealed, 0, found, NONCE_BYTES, sealed.length);
            return found;
        } catch (GeneralSecurityException impossible) {
            throw new IllegalStateException("this Java has no AES-GCM", impossible);
        }
    }
}

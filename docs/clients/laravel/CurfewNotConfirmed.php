<?php

declare(strict_types=1);

namespace App\Services;

/** Nobody has confirmed the call. After a logout, the token may still be valid: app/Services/CurfewNotConfirmed.php. */
final class CurfewNotConfirmed extends \RuntimeException
{
    /** @param ?int $retryAfter after how many seconds another attempt makes sense, if the answer said so */
    public function __construct(string $message, public readonly ?int $retryAfter = null)
    {
        parent::__construct($message);
    }
}
